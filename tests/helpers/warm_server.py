"""Server that forks Python processes in which slow imports are done.

It imports other packages than this one and BasicSR, whose imports are what tests of processes are about.
`warm.py` starts it with the number of a socket as its argument.
"""

import atexit
import contextlib
import gc
import json
import os
import runpy
import select
import signal
import socket
import sys
import warnings

# Without torchvision: some of its builds can only be imported after a repair by this package.
IMPORTS = (
    *(
        "cv2",
        "imagecodecs",
        "lmdb",
        "numpy",
        "packaging.version",
        "safetensors.torch",
        "tifffile",
        "tqdm",
        "yaml",
    ),
    *("PIL.ImageCms", "PIL.ImageDraw", "PIL.TiffImagePlugin"),
    *("scipy.ndimage", "scipy.spatial", "scipy.special", "scipy.stats"),
    *("torch", "torch._dynamo", "torch.nn.parallel", "torch.onnx.symbolic_opset11"),
    *("torch.distributed.fsdp", "torch.distributed.nn", "torch.distributed.tensor"),
    *("torch.utils.data", "torch.utils.model_zoo"),
)


def serve(requests: socket.socket) -> dict | None:
    """Fork a process for each request.

    A request is an object with `command`, `cwd` and `environment`, and with the descriptors of stdin, stdout,
    stderr, and of a pipe that receives the number of the process in one line and its status in the next.

    Returns:
        In a forked process its request; in the server None, once the socket is closed.
    """
    running: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([requests], [], [], 0.01 if running else None)
        if ready:
            message, streams, _, _ = socket.recv_fds(requests, 2**17, 4)
            if not message:
                return None
            process = os.fork()
            if process == 0:
                requests.close()
                become(streams)
                return json.loads(message)
            for stream in streams[:3]:
                os.close(stream)
            os.write(streams[3], b"%d\n" % process)
            running[process] = streams[3]
        for process in list(running):
            found, status = os.waitpid(process, os.WNOHANG)
            if found:
                report = running.pop(process)
                with contextlib.suppress(BrokenPipeError):  # the test gave up
                    os.write(report, b"%d\n" % os.waitstatus_to_exitcode(status))
                os.close(report)


def become(streams: list[int]) -> None:
    """Use the descriptors of a request."""
    for number, stream in enumerate(streams[:3]):
        os.dup2(stream, number)
    for stream in streams:
        os.close(stream)


def hide_leaks() -> None:
    """Discard what is printed to stderr after the exit handlers of Python.

    Triton reports objects that were not freed. In a forked process these are the frozen ones.
    """
    if "triton" in sys.modules:
        sys.stderr.flush()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def set_up(request: dict) -> list[str]:
    """Make this process as Python starts it. Return its arguments, from a script, `-c` or `-m` on."""
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["cwd"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    command = request["command"]
    first = "" if command[0] in ("-c", "-m") else os.path.dirname(os.path.abspath(command[0]))
    sys.path[:0] = [first, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return command


if __name__ == "__main__":
    del sys.path[0]  # the folder of this file
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for module in IMPORTS:
            __import__(module)
    gc.freeze()  # a forked process that ends does not visit, and thus copy, all of this memory
    request = serve(socket.socket(fileno=int(sys.argv[1])))
    if request is not None:
        atexit.register(hide_leaks)
        sys.argv = set_up(request)
        way = sys.argv[0]
        if way == "-m":
            del sys.argv[0]
            runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
        elif way == "-c":
            code = compile(sys.argv.pop(1), "<string>", "exec")
            exec(code, {"__name__": "__main__", "__builtins__": __builtins__})
        else:
            runpy.run_path(way, run_name="__main__")
