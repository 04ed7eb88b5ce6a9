"""The line: trigger, acquire, detect, decide, record, report.

Importing this package loads nothing else; import the module that you need.
"""

__version__ = "0.1.0"
