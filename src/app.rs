//! The one place that sees every part: starts, joins and stops them.
