"""Where a version came from, and building it again from its commit.

In: a project or a registered version. Out: its lineage; a rebuilt version compared byte by byte.
"""
