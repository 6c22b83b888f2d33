//! Pull, merge, push: systems kept in agreement
