;; Answers with a document of 30 000 nested lists.
(memory (export "memory") 2)
(data (i32.const 16) "{\"a\":")
(data (i32.const 4) "\10\00\00\00\35\75\00\00")
(func (export "stats") (result i32)
  (memory.fill (i32.const 21) (i32.const 91) (i32.const 30000))
  i32.const 0)
