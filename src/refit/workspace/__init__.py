"""The project on disk and its machine: root, lock, Git, environment, servers.

In: a folder. Out: facts about it, and local servers started and stopped.
"""
