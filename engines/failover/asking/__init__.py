"""A name and each of its addresses are asked as a visitor would ask, in bounded time."""
