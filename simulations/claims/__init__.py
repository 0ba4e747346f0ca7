"""The paper's claims, one module each: what to compute, what it says, how it is drawn."""
