package org.example.shop;

import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.logging.Level;

/** The office's work: `/report`, `/upload`, `/prices`, `/import`. */
public final class OfficePage extends Page {
    private static final long serialVersionUID = 1;

    @Override
    protected void doGet(HttpServletRequest request, HttpServletResponse response) throws IOException {
        int rows = number(request, "rows", 100);
        int days = number(request, "days", 7);
        String kind = request.getParameter("kind");
        byte[] table = new byte[rows * 200];
        try {
            Thread.sleep(days * 10L);
        } catch (InterruptedException error) {
            Thread.currentThread().interrupt();
        }
        log.info("report " + kind + " over " + days + " days has " + rows + " rows");
        response.setContentType("text/plain");
        try (OutputStream output = response.getOutputStream()) {
            for (int start = 0; start < table.length; start += 8192) {
                output.write(table, start, Math.min(8192, table.length - start));
                output.flush();
            }
        } catch (IOException error) {
            log.log(Level.WARNING, "report " + kind + " was not read to its end", error);
        }
    }

    @Override
    protected void doPost(HttpServletRequest request, HttpServletResponse response) throws IOException {
        switch (request.getServletPath()) {
            case "/upload" -> upload(request, response);
            case "/prices" -> price(request, response);
            default -> bring(request, response);
        }
    }

    private void upload(HttpServletRequest request, HttpServletResponse response) throws IOException {
        int item = number(request, "item", 1);
        byte[] picture = request.getInputStream().readAllBytes();
        if (picture.length > 100_000) {
            log.warning("picture of item " + item + " refused: " + picture.length + " bytes");
            answer(response, 413, "too large");
            return;
        }
        Path file = Shop.HOME.resolve("pictures").resolve(item + ".jpg");
        try {
            Files.write(file, picture);
        } catch (IOException error) {
            log.log(Level.SEVERE, "picture of item " + item + " not stored", error);
            answer(response, 507, "not stored");
            return;
        }
        log.info("picture of item " + item + " stored, " + picture.length + " bytes");
        answer(response, 201, "stored");
    }

    private void price(HttpServletRequest request, HttpServletResponse response) throws IOException {
        String line = request.getParameter("line");
        try {
            PriceList.set(line);
            log.info("price changed: " + line);
            answer(response, 200, "changed");
        } catch (NumberFormatException error) {
            log.log(Level.WARNING, "price not changed: " + line, error);
            answer(response, 422, "no price");
        }
    }

    /** Goods from a supplier's list; they stay in memory until somebody approves them. */
    private void bring(HttpServletRequest request, HttpServletResponse response) throws IOException {
        int kilobytes = number(request, "kilobytes", 1);
        boolean keep = request.getParameter("keep") != null;
        log.info("import of " + kilobytes + " kB begins");
        for (int done = 0; done < kilobytes; done += 256) {
            byte[] block = new byte[Math.min(256, kilobytes - done) << 10];
            if (keep) {
                Shop.get().imported.add(block);
            }
        }
        log.info("import of " + kilobytes + " kB finished");
        answer(response, 200, "imported");
    }
}
