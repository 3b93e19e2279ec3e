"""From a path to values: opening, unpacking and decoding files, and parsing what they hold."""
