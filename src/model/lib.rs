//! Records, values, money, ids, the three-way merge and the event catalogue
