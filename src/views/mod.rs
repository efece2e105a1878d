//! What groups of clients see: generations of translated resources.
