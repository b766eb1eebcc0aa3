# Create .venv in the root of the repository, and install requirements.txt and this package (Windows).
# It can be run again. An installed torch >= 2.4 is kept.
$ErrorActionPreference = "Stop"

$root = Split-Path -Parent $PSScriptRoot
$venv = Join-Path $root ".venv"
$python = Join-Path $venv "Scripts\python.exe"
$requirements = Join-Path $root "requirements.txt"

function Invoke-Python {
    # Runs the interpreter of .venv, and stops if it fails.
    & $python @args
    if ($LASTEXITCODE -ne 0) { throw "setup: python $args failed" }
}

function Install {
    Invoke-Python -m pip install --quiet --disable-pip-version-check @args
}

function Get-Pins([string] $pattern) {
    # Returns the lines of requirements.txt for the packages that match a pattern.
    Get-Content $requirements | Where-Object { $_ -match "^($pattern)==" } | ForEach-Object { ($_ -split ";")[0].Trim() }
}

if (-not (Test-Path $python)) {
    foreach ($version in "3.12", "3.11", "3.10") {
        & py "-$version" --version 2>$null | Out-Null
        if ($LASTEXITCODE -eq 0) {
            Write-Output "setup: creating .venv with Python $version"
            & py "-$version" -m venv $venv
            break
        }
    }
}
if (-not (Test-Path $python)) {
    throw "setup: no Python 3.10, 3.11 or 3.12 found by the launcher py; install one from python.org."
}

& $python -c "import sys; from importlib.metadata import version; sys.exit(tuple(map(int, version('torch').split('.')[:2])) < (2, 4))" 2>$null
if ($LASTEXITCODE -ne 0) {
    Write-Output "setup: installing torch and torchvision (once; several hundred megabytes)"
    Install @(Get-Pins "torch|torchvision")
}
$torch = & $python -c "from importlib.metadata import version; print(version('torch'))"
Install "torch==$torch" torchvision

Write-Output "setup: installing the rest of requirements.txt (once; a few minutes)"
Install cython setuptools wheel numpy
# BasicSR builds against the installed torch. An isolated build would download another one.
$rest = New-TemporaryFile
Get-Content $requirements | Where-Object { $_ -notmatch "^(torch|torchvision)==" } | Set-Content $rest
Install --no-build-isolation "torch==$torch" -r $rest
Install --no-build-isolation --no-deps --editable $root
Remove-Item $rest
Write-Output "setup: .venv is ready; activate it by .venv\Scripts\activate"
