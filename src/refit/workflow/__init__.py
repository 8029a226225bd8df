"""A whole run of the project, step by step, and what surrounds it: status, up, doctor.

In: the project's folder. Out: the result of each step, or the state of the project.
"""
