"""The subcommands of `embviz`: each reads its arguments and calls the rooms."""

# Each module is imported when its command is asked for, and has parser() and run(options, terminal) -> exit status.
COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("embviz_callback.demo.command", "all of it on a small training, in a minute"),
    "check": ("embviz_callback.commands.check", "what is wrong in a file of pairs"),
    "convert": ("embviz_callback.commands.convert", "data in another form"),
    "compare": ("embviz_callback.commands.compare", "checkpoints, epochs or runs, with intervals"),
    "analyse": ("embviz_callback.commands.analyse", "why queries fail: groups, errors, features"),
    "query": ("embviz_callback.commands.query", "a question in SQL about a run's evaluations"),
    "ship": ("embviz_callback.commands.ship", "which dimensions and precision are good enough"),
    "compat": ("embviz_callback.commands.compat", "whether a new model may search an old index"),
    "power": ("embviz_callback.commands.power", "how many queries show a difference"),
    "export": ("embviz_callback.commands.export", "a checkpoint for sentence-transformers"),
    "cache": ("embviz_callback.commands.cache", "features kept on disk: list, size, clear"),
    "selfcheck": ("embviz_callback.commands.selfcheck", "whether the callback changes your own training"),
    "completion": ("embviz_callback.commands.completion", "completion for bash, zsh or tcsh"),
}
