"""What a person needs to judge a version: one page, a text, a model card.

In: a version with its artifacts and evidence. Out: HTML, text and Markdown.
"""
