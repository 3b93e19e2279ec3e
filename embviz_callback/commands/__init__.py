"""The subcommands of `embviz`: each calls the rooms with what its options ask for."""
