"""The subcommands of `moeisr`. Each command module has `add_parser(subparsers)` and `run(args)`."""
