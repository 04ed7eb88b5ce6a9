"""Pictures of parts for the pages: the stored file, a small one, a heat map. No picture is ever changed.

row of the store ─▶ path, inside the picture folder ─▶ bytes ─▶ sha256 as in the row ─▶ browser
"""
