// Small controls that need the browser: the bell, copying, searching into the address, what is kept in this browser.
import { useEffect, useRef, useState } from "react";
import { useLocation, useNavigate } from "react-router";

const Icon = ({ name, cls = "" }) => <svg className={`i ${cls}`} aria-hidden="true"><use href={`/glyphs.svg#i-${name}`} /></svg>;

export function Bell({ unread = 0, onSeen, children }) {
  const [open, set] = useState(false), root = useRef(null), button = useRef(null);
  useEffect(() => {
    if (!open) return;
    const away = (e) => { if (!root.current?.contains(e.target)) set(false); };
    const esc = (e) => { if (e.key === "Escape") { set(false); button.current?.focus(); } };
    document.addEventListener("pointerdown", away);
    document.addEventListener("keydown", esc);
    return () => { document.removeEventListener("pointerdown", away); document.removeEventListener("keydown", esc); };
  }, [open]);
  return <div className="bell" ref={root}>
    <button ref={button} className="btn flat sq" type="button" aria-expanded={open} aria-controls="notices" aria-label={unread ? `Notifications, ${unread} new` : "Notifications"} onClick={() => { if (!open && unread && onSeen) onSeen(); set(!open); }}><Icon name="bell" />{unread > 0 && <span className="dot" />}</button>
    <div id="notices" className="pop" hidden={!open} onClick={(e) => { if (e.target.closest("a")) set(false); }}>{children}</div>
  </div>;
}

export function Copy({ text = "", label = "Copy", word = "", className = "btn sm sq flat" }) {
  const [done, set] = useState(false);
  const copy = async () => {
    try { await navigator.clipboard.writeText(text); } catch { return; }
    set(true);
    setTimeout(() => set(false), 1600);
  };
  return <button className={className} type="button" aria-label={word ? undefined : label} title={label} onClick={copy}><Icon name={done ? "check" : "copy"} cls="s14" />{word && (done ? "Copied" : word)}<span className="hush" role="status">{done ? "Copied" : ""}</span></button>;
}

// The page's own search lives in its address (?q=), so that back, reload and links keep it.
export function Seek({ label = "Search", name = "q" }) {
  const { pathname, search } = useLocation(), navigate = useNavigate(), had = new URLSearchParams(search).get(name) || "", [text, set] = useState(had), timer = useRef(0);
  useEffect(() => { set(had); }, [had]);
  const go = (value) => {
    const p = new URLSearchParams(window.location.search);
    if (value.trim()) p.set(name, value.trim()); else p.delete(name);
    p.delete("from");
    const s = p.toString();
    navigate(s ? `${pathname}?${s}` : pathname, { replace: true, preventScrollReset: true });
  };
  return <div className="seek" role="search"><Icon name="search" /><input className="inp" data-search="" aria-label={label} placeholder={label} value={text} maxLength={100}
    onChange={(e) => { const v = e.target.value; set(v); clearTimeout(timer.current); timer.current = setTimeout(() => go(v), 250); }}
    onKeyDown={(e) => { if (e.key === "Enter") { clearTimeout(timer.current); go(text); } if (e.key === "Escape" && text) { set(""); clearTimeout(timer.current); go(""); } }} /></div>;
}

export function Choose({ label = "", name = "", options = [], all = "" }) {
  const { pathname, search } = useLocation(), navigate = useNavigate();
  return <select className="inp" aria-label={label} value={new URLSearchParams(search).get(name) || ""} onChange={(e) => {
    const p = new URLSearchParams(window.location.search);
    if (e.target.value) p.set(name, e.target.value); else p.delete(name);
    p.delete("from");
    const s = p.toString();
    navigate(s ? `${pathname}?${s}` : pathname, { replace: true });
  }}><option value="">{all}</option>{options.map((o) => <option key={o.value} value={o.value}>{o.text}</option>)}</select>;
}

// A switch whose state lives in this browser. on: its stored word; mark: a class on the document while it is on.
export function Kept({ name = "", label = "", on = "on", usual = false, mark = "" }) {
  const [is, set] = useState(usual);
  useEffect(() => { try { const had = localStorage.getItem(name); set(had === null ? usual : had === "on"); } catch { /* stays as usual */ } }, [name]);
  const flip = () => {
    const next = !is;
    set(next);
    if (mark) document.documentElement.classList.toggle(mark, next);
    try { localStorage.setItem(name, next ? "on" : "off"); } catch { /* works until the page is left */ }
  };
  return <button className="switch" role="switch" type="button" aria-checked={is} aria-label={label} onClick={flip} />;
}

// System, light, dark: Reflex keeps the choice under "theme" and follows the system by itself.
export function Theme({ mode = "system", onChoose }) {
  const [is, set] = useState(mode);
  useEffect(() => { try { set(localStorage.getItem("theme") || "system"); } catch { /* stays as it is */ } }, [mode]);
  return <div className="choices" role="radiogroup" aria-label="Theme">{[["system", "System", "screen"], ["light", "Light", "sun"], ["dark", "Dark", "moon"]].map(([value, text, icon]) =>
    <button key={value} className="theme-btn" type="button" role="radio" aria-checked={is === value} onClick={() => { set(value); onChoose && onChoose(value); }}><Icon name={icon} cls="s20" />{text}</button>)}</div>;
}

// Marks the document as signed in or out, for the first paint of the next visit.
export function Signed({ who = "" }) {
  useEffect(() => {
    if (!who) return;
    const yes = who === "in";
    document.documentElement.classList.toggle("in", yes);
    try { if (yes) localStorage.setItem("cmb.in", "1"); else localStorage.removeItem("cmb.in"); } catch { /* only the first paint differs */ }
  }, [who]);
  return null;
}
