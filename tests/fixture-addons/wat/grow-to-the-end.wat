;; Grows its memory page by page until it is refused, and goes on: what it holds by then is too much to be kept.
(memory (export "memory") 1)
(data (i32.const 16) "{}")
(data (i32.const 4) "\10\00\00\00\02\00\00\00")
(func (export "stats") (result i32)
  (loop $again (br_if $again (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
  i32.const 0)
