;; Copies 31 MiB to and fro: each copy is one instruction.
(memory (export "memory") 1000)
(func (export "stats") (result i32)
  (loop $again
    (memory.copy (i32.const 0) (i32.const 32768000) (i32.const 32768000))
    (br $again))
  unreachable)
