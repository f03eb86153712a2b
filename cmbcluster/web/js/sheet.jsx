// Dialogs. Sheet is opened by State; Keys and More open themselves. Focus returns to what opened them.
import { useEffect, useRef, useState } from "react";
import * as Dialog from "@radix-ui/react-dialog";

// Whether somebody typed or chose something in there that closing would lose.
const typed = (root) => [...root.querySelectorAll("form input:not([type=hidden]), form textarea")].some((el) =>
  el.type === "checkbox" || el.type === "radio" ? el.checked !== el.defaultChecked : el.value !== el.defaultValue);

export function Sheet({ open, onOpenChange, children, className = "dlg", veil = "veil", role = "dialog" }) {
  const back = useRef(null), body = useRef(null), timer = useRef(0), [asked, ask] = useState("");
  // What was typed is not lost by one key or one click beside: the first one asks.
  const guard = (how) => (e) => {
    if (!body.current || asked || !typed(body.current)) return;
    e.preventDefault();
    ask(how);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => ask(""), 5000);
  };
  useEffect(() => { if (!open) { clearTimeout(timer.current); ask(""); } }, [open]);
  useEffect(() => {
    const app = document.querySelector(".app");
    if (!app || !open) return;
    app.inert = true;
    return () => { app.inert = false; };
  }, [open]);
  return <Dialog.Root open={open} onOpenChange={onOpenChange}><Dialog.Portal><Dialog.Overlay className={veil}>
    <Dialog.Content ref={body} className={className} role={role} aria-describedby={undefined}
      onEscapeKeyDown={guard("Press Esc again")} onPointerDownOutside={guard("Click again")}
      onOpenAutoFocus={(e) => {
        back.current = document.activeElement;
        const first = e.currentTarget.querySelector("[data-first]");
        if (first) { e.preventDefault(); first.focus(); }
      }}
      onCloseAutoFocus={(e) => {
        e.preventDefault();
        const b = back.current;
        (b && b.isConnected && b !== document.body ? b : document.getElementById("content"))?.focus();
      }}>{children}<div role="status">{asked && <div className="stays"><div className="note warn">{asked} to close this and lose what you typed.</div></div>}</div></Dialog.Content>
  </Dialog.Overlay></Dialog.Portal></Dialog.Root>;
}

// A sheet the browser opens by itself, on a window event.
export function OwnSheet({ on = "", label = "", children, className = "dlg", closeOnClick = false }) {
  const [open, set] = useState(false);
  useEffect(() => {
    const show = () => set(true);
    window.addEventListener(on, show);
    return () => window.removeEventListener(on, show);
  }, [on]);
  return <Sheet open={open} onOpenChange={set} className={className}>
    <header><Dialog.Title asChild><h2 className="grow">{label}</h2></Dialog.Title>
      <Dialog.Close asChild><button className="btn flat sq" type="button" aria-label="Close"><svg className="i" aria-hidden="true"><use href="/glyphs.svg#i-x" /></svg></button></Dialog.Close></header>
    <div className="body" onClick={(e) => { if (closeOnClick && e.target.closest("a")) set(false); }}>{children}</div>
  </Sheet>;
}

export function Opener({ event = "", children, ...rest }) {
  return <button type="button" {...rest} onClick={() => window.dispatchEvent(new Event(event))}>{children}</button>;
}
