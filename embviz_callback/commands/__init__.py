"""The subcommands of `embviz`: each reads its arguments and calls the rooms."""
