;; Traps in its start function.
(memory (export "memory") 1)
(func $harbour_is_closed unreachable)
(start $harbour_is_closed)
(func (export "stats") (result i32) i32.const 0)
