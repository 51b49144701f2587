;; Asks for a table of a thousand million elements, is told no, and goes on.
(memory (export "memory") 1)
(table $t 1 funcref)
(data (i32.const 16) "{\"refused\":1}")
(data (i32.const 4) "\10\00\00\00\0d\00\00\00")
(func (export "stats") (result i32)
  (if (i32.ne (table.grow $t (ref.null func) (i32.const 1000000000)) (i32.const -1)) (then unreachable))
  i32.const 0)
