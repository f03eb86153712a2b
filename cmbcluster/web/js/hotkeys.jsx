// Keys that work everywhere. go: {letter after g: path}. Buttons name their key with data-do, so a page needs no list.
import { useEffect } from "react";
import { useNavigate } from "react-router";

const typing = (t) => t.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(t.tagName);
const open = () => document.querySelector("[role=dialog],[role=alertdialog],[role=menu]");
const press = (el) => { if (el && !el.disabled) { el.click(); return true; } return false; };

function walk(step) {
  const rows = [...document.querySelectorAll("[data-row]")];
  if (!rows.length) return;
  const at = rows.findIndex((r) => r.contains(document.activeElement));
  const next = rows[at < 0 ? (step > 0 ? 0 : rows.length - 1) : Math.min(rows.length - 1, Math.max(0, at + step))];
  next.querySelector("a")?.focus();
  next.scrollIntoView({ block: "nearest" });
}

export function Hotkeys({ go = {} }) {
  const navigate = useNavigate();
  useEffect(() => {
    let g = 0, quiet = 0;
    const on = (e) => {
      if ((e.ctrlKey || e.metaKey) && e.key.toLowerCase() === "k") { e.preventDefault(); quiet = e.timeStamp + 400; window.dispatchEvent(new Event("cmb:palette")); return; }
      if (e.ctrlKey || e.metaKey || e.altKey || e.timeStamp < quiet || typing(e.target) || open()) return;
      let off = false;
      try { off = localStorage.getItem("cmb.keys") === "off"; } catch { /* no storage: keys stay on */ }
      if (off) return;
      if (e.key === "g") { g = e.timeStamp; return; }
      if (g && e.timeStamp - g < 1200 && go[e.key]) { g = 0; e.preventDefault(); navigate(go[e.key]); return; }
      g = 0;
      if (e.key === "?") { e.preventDefault(); window.dispatchEvent(new Event("cmb:keys")); return; }
      if (e.key === "/") { const f = document.querySelector("[data-search]"); if (f) { e.preventDefault(); f.focus(); f.select(); } return; }
      if (e.key === "j" || (e.key === "ArrowDown" && document.activeElement?.closest("[data-row]"))) { e.preventDefault(); walk(1); return; }
      if (e.key === "k" || (e.key === "ArrowUp" && document.activeElement?.closest("[data-row]"))) { e.preventDefault(); walk(-1); return; }
      if (e.key === "c") { e.preventDefault(); if (!press(document.querySelector("[data-do=c]"))) navigate("/catalogue"); return; }
      if (/^[oes]$/.test(e.key)) {
        const row = document.activeElement?.closest("[data-row]") || document.querySelector("[data-one]");
        if (row && press(row.querySelector(`[data-do=${e.key}]`))) e.preventDefault();
      }
    };
    window.addEventListener("keydown", on);
    return () => window.removeEventListener("keydown", on);
  }, [JSON.stringify(go), navigate]);
  return null;
}
