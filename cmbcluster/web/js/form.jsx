// A form that keeps what was typed. Checks a field when it is left, on each key once it was wrong, all on submit.
import { useEffect, useRef } from "react";

const values = (form) => Object.fromEntries([...new FormData(form)].map(([k, v]) => [k, String(v)]));

export function Form({ onSend, onCheck, errors = {}, className = "", label = "", children }) {
  const form = useRef(null), sent = useRef(false), timer = useRef(0);
  // After a refused submit the first wrong field gets the focus, once.
  const first = () => {
    if (!sent.current) return;
    const wrong = form.current?.querySelector("[aria-invalid=true]");
    if (wrong) { sent.current = false; wrong.focus(); }
  };
  useEffect(first, [JSON.stringify(errors)]);
  // A button that waits for a typed name ([data-match]) is off until it is there.
  const match = () => {
    const f = form.current, need = f?.querySelector("[data-match]"), go = f?.querySelector("[data-waits]");
    if (go) go.disabled = !!need && need.offsetParent !== null && need.value.trim() !== need.dataset.match;
  };
  useEffect(() => { match(); });
  const check = (el) => { if (onCheck && el.name && el.dataset.check !== undefined) onCheck(el.name, el.value); };
  return <form ref={form} className={className} aria-label={label || undefined} noValidate
    onSubmit={(e) => { e.preventDefault(); clearTimeout(timer.current); sent.current = true; onSend && onSend(values(e.currentTarget)); setTimeout(first, 250); }}
    onBlur={(e) => { if (!e.currentTarget.contains(e.relatedTarget) || e.relatedTarget?.type !== "submit") if (e.target.value) check(e.target); }}
    onInput={(e) => {
      match();
      const el = e.target;
      if (el.getAttribute("aria-invalid") === "true") { clearTimeout(timer.current); timer.current = setTimeout(() => check(el), 150); }
    }}>{children}</form>;
}
