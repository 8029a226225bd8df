"""The lineage of versions, and their reproduction from it.

In: a project or a registered version. Out: its lineage; a reproduction, compared byte by byte.
"""
