"""The tables of `tables.py` as markdown."""


def print_report(*a):
    pass
