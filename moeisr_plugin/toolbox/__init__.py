"""Repairs of BasicSR 1.4.2, and the registration of this package with it.

`import_hook.install()` runs on `import moeisr_plugin`. It imports nothing; each repair is applied when the
module that it mends is imported. Each repair names the toolbox lines that it mends and when it can go. Line
numbers are those of BasicSR 1.4.2.
"""
