;; Fills 62 MiB again and again: each fill is one instruction.
(memory (export "memory") 1000)
(func (export "stats") (result i32)
  (loop $again
    (memory.fill (i32.const 0) (i32.const 7) (i32.const 65536000))
    (br $again))
  unreachable)
