;; Answers with a string that is not UTF-8.
(memory (export "memory") 1)
(data (i32.const 16) "\ff\fe{}")
(data (i32.const 4) "\10\00\00\00\04\00\00\00")
(func (export "stats") (result i32) i32.const 0)
