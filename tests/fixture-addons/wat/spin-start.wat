;; Spins in its start function.
(memory (export "memory") 1)
(func $spin (loop $again (br $again)))
(start $spin)
(func (export "stats") (result i32) i32.const 0)
