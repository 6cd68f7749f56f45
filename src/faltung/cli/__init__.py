"""The command line: ``main.py`` has the table of commands, and each command has its own file."""
