package ui_test

// hostile is what nobody wants to see at work: markup, script, terminal codes, text that turns around.
const hostile = `<script>window.hit=1</script><img src=x onerror="window.hit=1">"'><svg onload=window.hit=1>{{.}}${1}` + "\u202egnp.exe"
