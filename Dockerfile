# Enlarges pictures on a CPU:
#   docker build -t moeisr .
#   docker run --rm -v "$PWD:/pictures" moeisr upscale photo.png --scale 2
FROM python:3.12-slim

RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*

# The build of torch for CPUs is much smaller than the default one.
RUN pip install --no-cache-dir torch --index-url https://download.pytorch.org/whl/cpu

COPY . /source
RUN pip install --no-cache-dir "/source[heic]" && rm -rf /source

WORKDIR /pictures
ENTRYPOINT ["moeisr"]
CMD ["--help"]
