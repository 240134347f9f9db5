"""What annotation tools and inference clients speak already, one module for each.

Every module has a ``router``. Paths are those that the tool asks for; where they would be in each other's way, the tool
is given a URL that ends with the router's prefix.
"""
