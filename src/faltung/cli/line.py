"""What every command needs: exit statuses, and text on one line."""

# Exit statuses; 130, after Ctrl-C, is in ending.py.
DONE, IN_PART, REFUSED, NO_READER = 0, 1, 2, 141


def line(said: object) -> str:
    """A text, or the message of an error, on one line of printable characters."""
    text = " ".join(str(said).split()) or type(said).__name__
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
