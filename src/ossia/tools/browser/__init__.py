"""The browser: search, open and find over pages of a local corpus or the web.

Knows pages, views and where they come from; not who asks for them.
"""
