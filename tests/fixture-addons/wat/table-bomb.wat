;; Grows its table until it is refused, and traps.
(memory (export "memory") 1)
(table $t 1 funcref)
(func (export "stats") (result i32)
  (loop $again
    (br_if $again (i32.ne (table.grow $t (ref.null func) (i32.const 1000)) (i32.const -1))))
  unreachable)
