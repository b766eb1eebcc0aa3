"""The subcommands of `moeisr`: each module gives `add_parser(subparsers)` and `run(args)`."""
