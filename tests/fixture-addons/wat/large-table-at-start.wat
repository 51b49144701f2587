;; Wants a table of a million elements before it has begun.
(memory (export "memory") 1)
(table 1000000 funcref)
(func (export "stats") (result i32) i32.const 0)
