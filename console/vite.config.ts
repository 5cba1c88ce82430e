import vue from "@vitejs/plugin-vue";
import { defineConfig } from "vite";

export default defineConfig({
  plugins: [vue()],
  // Parts of Vue and vue-i18n that no screen uses are left out: a phone fetches every kilobyte.
  define: {
    __VUE_OPTIONS_API__: "false",
    __VUE_I18N_LEGACY_API__: "false",
    __VUE_I18N_FULL_INSTALL__: "false",
    __INTLIFY_PROD_DEVTOOLS__: "false",
  },
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
