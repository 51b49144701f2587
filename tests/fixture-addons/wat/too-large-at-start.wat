;; Wants 125 MiB of memory before it has begun.
(memory (export "memory") 2000)
(func (export "stats") (result i32) i32.const 0)
