"""What stores cost: a dated table of list prices, what an operation takes, and what calls have cost."""

from credstore.prices.plan import Bill, Explanation, Step, Verb
from credstore.prices.table import TABLE, Price, price_of

__all__ = ["TABLE", "Bill", "Explanation", "Price", "Step", "Verb", "price_of"]
