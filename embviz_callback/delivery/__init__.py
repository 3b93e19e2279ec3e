"""Where results go: alerts, sinks, publishing and the worker process."""
