"""A folder or table becomes cases: check, measure, plan, split."""
