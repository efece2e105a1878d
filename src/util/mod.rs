//! Small things without an idea of their own that several parts need.
