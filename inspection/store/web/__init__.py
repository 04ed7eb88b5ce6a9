"""The results store as the web pages use it: people, reviews, audit, counts. All SQL of the pages is here.

Every function takes an open connection from `access.WebStore` and opens no transaction of its own.
"""
