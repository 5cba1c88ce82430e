import vue from "@vitejs/plugin-vue";
import { defineConfig } from "vite";

export default defineConfig({
  plugins: [vue()],
  worker: { format: "es" },
  build: {
    outDir: "../src/hazardloop/service/console_dist",
    emptyOutDir: true,
    manifest: true, // says which files each screen needs; their sizes are tested
    assetsDir: "assets",
    target: "es2022",
    // An inlined asset would be a data: address, which the content policy refuses for scripts.
    assetsInlineLimit: 0,
  },
  // `npm run dev` talks to an api already running on its usual port.
  server: { proxy: { "/api": "http://127.0.0.1:8080" } },
});
