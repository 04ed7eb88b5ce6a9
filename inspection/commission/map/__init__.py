"""The exchange area for the maker's tool, and the PLC's program.

words ─▶ families (the notation) ─▶ labels (CSV, data block)
program (one text) ─▶ dialects, logix ─▶ .st or .scl          files puts all of it into a folder
"""
